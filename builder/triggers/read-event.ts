import type { IncomingHttpHeaders } from 'node:http';
import {
  commitHint,
  type EventFields,
  type HookEvent,
  mostRefs,
  parseFields,
  pusherHint,
  refHint,
  UnreadableEvent,
} from './hook-event.ts';
import type { Provider } from './trigger.ts';

/** Reads a delivery whose signature was good. Errors: UnreadableEvent. */
export function readEvent(provider: Provider, headers: IncomingHttpHeaders, body: Buffer): HookEvent {
  if (provider === 'generic') return readGeneric(parseFields(body));
  if (provider === 'gitlab') return readGitlab(headerOf(headers, 'x-gitlab-event'), parseFields(body));
  const name = provider === 'github' ? 'github' : 'gitea';
  const event = headerOf(headers, `x-${name}-event`) || headerOf(headers, 'x-forgejo-event');
  if (event === 'ping') return ignored('pong');
  return readGithub(event, parseFields(body));
}

/**
 * GitHub's payloads, and Gitea's and Forgejo's, which are shaped after them: `push` for branches and tags, `create` and `delete` (a name and its kind,
 * in GitHub's case without a commit), `pull_request`.
 */
function readGithub(event: string, fields: EventFields): HookEvent {
  const common = {
    ...projectOf(fields.text('repository.full_name')),
    ...pusherHint(fields.text('sender.login')),
  };
  if (event === 'push') {
    const ref = fields.required('ref');
    const hint = refHint(ref, fields.required('after'));
    return { kind: 'refs', ...common, refs: [hint], skip: false };
  }
  if (event === 'create' || event === 'delete') {
    const name = fields.required('ref');
    const folder = { branch: 'heads', tag: 'tags' }[fields.required('ref_type')];
    if (folder === undefined)
      return ignored(`nothing is built when something is ${event}d that is neither branch nor tag`);
    // Also where the name itself begins with refs/: a tag may be called refs/heads/main.
    const ref = `refs/${folder}/${name}`;
    const deleted = event === 'delete';
    return {
      kind: 'refs',
      ...common,
      refs: [{ ref, deleted, ...(deleted ? {} : commitHint(fields.text('sha'))) }],
      skip: false,
    };
  }
  if (event !== 'pull_request') return ignored(`nothing is built when "${event.slice(0, 40)}" happens`);
  const action = fields.required('action');
  if (!['opened', 'reopened', 'synchronize', 'synchronized'].includes(action)) {
    return ignored(`nothing is built when a pull request is ${action.slice(0, 40)}`);
  }
  const base = fields.text('pull_request.base.repo.full_name');
  // A fork that is gone has no name.
  if (base !== undefined && fields.text('pull_request.head.repo.full_name') === base) return sameRepository;
  const number = fields.number('number') ?? fields.number('pull_request.number');
  return {
    kind: 'change',
    ...common,
    number: checkedNumber(number),
    ...commitHint(fields.text('pull_request.head.sha')),
  };
}

function readGitlab(event: string, fields: EventFields): HookEvent {
  const common = {
    ...projectOf(fields.text('project.path_with_namespace')),
    ...pusherHint(fields.text('user_username') ?? fields.text('user.username')),
  };
  const kind = fields.text('object_kind') ?? event;
  if (kind === 'push' || kind === 'tag_push') {
    return {
      kind: 'refs',
      ...common,
      refs: [refHint(fields.required('ref'), fields.required('after'))],
      skip: false,
    };
  }
  if (kind !== 'merge_request') return ignored(`nothing is built when "${kind.slice(0, 40)}" happens`);
  const action = fields.text('object_attributes.action') ?? '';
  // Without `oldrev` an update changed a title or a label.
  const moved = action === 'update' && fields.text('object_attributes.oldrev') !== undefined;
  if (action !== 'open' && action !== 'reopen' && !moved)
    return ignored('the merge request has no new commits');
  const source = fields.number('object_attributes.source_project_id');
  if (source !== undefined && source === fields.number('object_attributes.target_project_id'))
    return sameRepository;
  return {
    kind: 'change',
    ...common,
    number: checkedNumber(fields.number('object_attributes.iid')),
    ...commitHint(fields.text('object_attributes.last_commit.id')),
  };
}

function readGeneric(fields: EventFields): HookEvent {
  const updates = fields.list('updates');
  if (updates.length === 0 || updates.length > mostRefs) {
    throw new UnreadableEvent(
      `"updates" must hold 1 to ${mostRefs} entries: send more in several deliveries`,
    );
  }
  const refs = updates.map((update) => refHint(update.required('ref'), update.required('new')));
  const app = fields.text('repository');
  const skip = fields.texts('options').includes('build.skip');
  return {
    kind: 'refs',
    ...(app === undefined ? {} : { app }),
    ...pusherHint(fields.text('pusher')),
    refs,
    skip,
  };
}

const sameRepository = ignored('its branch is in the same repository, and is built when it is pushed');

function ignored(message: string): HookEvent {
  return { kind: 'ignored', message };
}

function projectOf(name: string | undefined): { project?: string } {
  return name === undefined ? {} : { project: name };
}

function checkedNumber(number: number | undefined): number {
  if (number === undefined || number < 1 || number > 999_999_999)
    throw new UnreadableEvent('the number of the pull request is missing');
  return number;
}

function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : '';
}
