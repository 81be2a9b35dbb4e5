/** The answer, where it comes within `ms`; undefined: later, and whatever becomes of it is no failure of anybody who left. Errors: those of `answer` in time. */
export async function inHurry<T>(answer: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  answer.catch(() => {});
  try {
    return await Promise.race([answer, over]);
  } finally {
    clearTimeout(timer);
  }
}
