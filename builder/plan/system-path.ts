/** Directories of every base image in which an application may lay files of its own when it gives up being rebased. */
const allowed = ['/usr/', '/opt/', '/srv/', '/etc/', '/var/lib/', '/var/www/'];
/** Links of a merged /usr: a layer that names them would put a directory in their place, and nothing in the image would start. */
const merged = /^\/(?:bin|sbin|lib|lib32|lib64|libx32)(?=\/)/;
/** How an image is started, who is who in it, and what its packages are: these stay the base's. */
const reserved =
  /^\/(?:usr\/local\/bin\/launcher|usr\/bin\/tini|etc\/(?:appimg|passwd|group|shadow|gshadow|sudoers|pam\.d|ld\.so)|var\/lib\/dpkg)(?=$|[/.-])/;

/** Why no file may be laid at an absolute path outside of the application's own directory; undefined = it may. */
export function systemPathFault(path: string): { message: string; hint?: string } | undefined {
  if (merged.test(path)) {
    return { message: 'is a link into /usr in base images', hint: `write "/usr${path}"` };
  }
  if (reserved.test(path)) return { message: 'belongs to the base image' };
  if (allowed.some((prefix) => path.startsWith(prefix) && path.length > prefix.length)) return undefined;
  return { message: `outputs may lie in ${allowed.join(', ')}` };
}
