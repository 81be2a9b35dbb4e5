import type { CliContext } from './context.ts';
import { openServerApi } from './server-api.ts';

/**
 * Tells the server which base images were made, so that it need not find out in a minute. A server that cannot be told finds out by
 * itself, so nothing fails by that.
 */
export async function announceBases(
  context: CliContext,
  server: string | undefined,
  repositories: readonly string[],
): Promise<void> {
  try {
    const api = await openServerApi(context, server);
    for (const repository of new Set(repositories)) {
      const name = repository.slice(repository.indexOf('/') + 1);
      const { waves } = await api.call<{ waves: { channel: string }[] }>(
        'POST',
        `/api/v1/base-images/${name}/changed`,
      );
      for (const { channel } of waves) {
        context.stderr(`the apps on ${name}:${channel} follow (brickyard base waves ${name})\n`);
      }
    }
  } catch (error) {
    context.stderr(`apps may follow a minute later: ${(error as Error).message}\n`);
  }
}
