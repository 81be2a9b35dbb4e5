import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The hooks talk to the server over sockets that they inherit from it as file descriptors 3, 4 and 5: no address, no secret and
 * no start of a program, and when the server dies they read an end of file and the push is refused.
 *
 * pre-receive (3): tells where the new objects lie in quarantine and waits until the server has stored them.
 * proc-receive (4): carries git's own proc-receive protocol to the server, which moves the refs; receive-pack itself moves none.
 * post-receive (5): prints what the server says, i.e. the build's log, on the pusher's terminal.
 */
const scripts: Readonly<Record<string, string>> = {
  'pre-receive': `#!/bin/sh
{ printf '%s\\n' "$GIT_QUARANTINE_PATH"; while IFS= read -r line; do printf '%s\\n' "$line"; done; echo; } >&3 || exit 1
IFS= read -r answer <&3 || exit 1
[ "$answer" = ok ] && exit 0
printf '%s\\n' "$answer" >&2
exit 1
`,
  'proc-receive': `#!/bin/sh
cat <&4 &
exec cat >&4
`,
  'post-receive': `#!/bin/sh
echo post >&5
exec cat <&5
`,
};

/** Writes the hooks into `folder`; several processes may do so at once. */
export async function installHooks(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(scripts)) {
    const temporary = join(folder, `.${name}.${process.pid}`);
    await writeFile(temporary, text, { mode: 0o755 });
    await rename(temporary, join(folder, name));
  }
}
