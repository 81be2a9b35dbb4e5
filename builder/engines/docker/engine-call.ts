import { ContainerApiError } from './container-api.ts';

/** Names the engine as the source of an error, so that it is told from a fault of the build. */
export async function attempt<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Error && error.name === 'AbortError') throw error;
    throw new ContainerApiError(`container engine: ${(error as Error).message.trim()}`, { cause: error });
  }
}

const patienceSeconds = 120;

/** For calls that an engine answers at once: one that hangs is no reason to wait for ever, and no fault of the build. */
export async function soon<T>(call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`no answer within ${patienceSeconds} s`);
    timer = setTimeout(() => reject(error), patienceSeconds * 1000);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}
