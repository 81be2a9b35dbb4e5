import type { Static } from 'typebox';
import { Type } from '../../core/type.ts';
import type { BasePlan, ChannelPlan } from '../propagate/plan-base.ts';
import type { PlannedImage } from '../propagate/plan-images.ts';
import type { Wave, WaveImage } from '../propagate/wave.ts';

const tagsSchema = Type.Array(Type.String(), { description: 'Moving tags that name the image.' });

const plannedImageSchema = Type.Object({
  repository: Type.String(),
  digest: Type.String(),
  tags: tagsSchema,
  current: Type.Boolean({
    description: 'It stands on the base’s digest already; `action` is then what a change would mean.',
  }),
  action: Type.Enum(['rebase', 'rebuild', 'refuse', 'exclude', 'defer'], {
    description: '`refuse`: it can neither be rebased nor built again; `exclude`: the configuration says so.',
  }),
  reason: Type.Optional(Type.String({ description: 'Why it is not simply rebased.' })),
});

const channelPlanSchema = Type.Object({
  repository: Type.String(),
  channel: Type.String(),
  digest: Type.String(),
  parent: Type.Optional(
    Type.String({ description: 'The base image that it stands on, `repository:channel`.' }),
  ),
  derived: Type.Boolean({ description: 'It stands on the base image that was asked for.' }),
  deprecation: Type.Optional(Type.String({ description: 'JSON; see `deprecation` in base.yaml.' })),
  images: Type.Array(plannedImageSchema),
  hidden: Type.Integer({ description: 'Images that you may not pull: counted, not shown.' }),
  estimatedSeconds: Type.Number(),
});

export const planSchema = Type.Object({ channels: Type.Array(channelPlanSchema) });

const countsSchema = Type.Object(
  Object.fromEntries(
    ['rebased', 'rebuilt', 'restored', 'left', 'refused', 'failed', 'deferred', 'excluded'].map((name) => [
      name,
      Type.Integer(),
    ]),
  ),
);

export const waveSchema = Type.Object({
  id: Type.String({ description: 'Sorts by time.' }),
  kind: Type.Enum(['rebase', 'undo']),
  state: Type.Enum(['queued', 'running', 'succeeded', 'failed', 'cancelled', 'superseded']),
  repository: Type.String(),
  channel: Type.String(),
  to: Type.String({ description: 'Digest of the base that apps are moved to (`undo`: were moved to).' }),
  from: Type.Optional(Type.String({ description: 'What the channel named before.' })),
  by: Type.String(),
  automatic: Type.Boolean(),
  undoes: Type.Optional(Type.String({ description: 'Id of the wave that is undone.' })),
  createdAt: Type.String({ format: 'date-time' }),
  startedAt: Type.Optional(Type.String({ format: 'date-time' })),
  finishedAt: Type.Optional(Type.String({ format: 'date-time' })),
  error: Type.Optional(Type.String()),
  counts: Type.Optional(countsSchema),
});

const waveImageSchema = Type.Object({
  repository: Type.String(),
  digest: Type.String({ description: 'Before.' }),
  newDigest: Type.Optional(Type.String({ description: 'After.' })),
  tags: tagsSchema,
  action: Type.String(),
  outcome: Type.Optional(Type.String({ description: 'None: it is not its turn yet.' })),
  canary: Type.Boolean(),
  reason: Type.Optional(Type.String()),
  moved: Type.Optional(Type.Array(Type.String())),
  left: Type.Optional(Type.Array(Type.Object({ tag: Type.String(), reason: Type.String() }))),
  build: Type.Optional(Type.String({ description: 'Id of the build that made it again.' })),
});

export const waveDetailSchema = Type.Object({
  wave: waveSchema,
  images: Type.Array(waveImageSchema),
  hidden: Type.Integer({ description: 'Images that you may not pull: counted, not shown.' }),
});

export type PlanView = Static<typeof planSchema>;
export type WaveView = Omit<Static<typeof waveSchema>, 'counts'> & {
  readonly counts?: Readonly<Record<string, number>>;
};
export type WaveImageView = Static<typeof waveImageSchema>;
export interface WaveDetailView {
  readonly wave: WaveView;
  readonly images: readonly WaveImageView[];
  readonly hidden: number;
}

type Sees = (repository: string) => boolean;

export function toPlanView({ channels }: BasePlan, sees: Sees): PlanView {
  return { channels: channels.map((channel) => toChannelView(channel, sees)) };
}

function toChannelView(plan: ChannelPlan, sees: Sees): PlanView['channels'][number] {
  const { repository, channel, digest, parent, derived, deprecation, images, estimatedSeconds } = plan;
  const seen = images.filter(({ descendant }) => sees(descendant.repository));
  return {
    repository,
    channel,
    digest,
    derived,
    estimatedSeconds,
    ...(parent === undefined ? {} : { parent: `${parent.repository}:${parent.channel}` }),
    ...(deprecation === undefined ? {} : { deprecation }),
    images: seen.map(toPlannedView),
    hidden: images.length - seen.length,
  };
}

function toPlannedView({
  descendant,
  current,
  action,
  reason,
}: PlannedImage): Static<typeof plannedImageSchema> {
  const { repository, digest, tags } = descendant;
  return {
    repository,
    digest,
    tags: tags.map(({ tag }) => tag),
    current,
    // A plan restores nothing.
    action: action === 'restore' ? 'refuse' : action,
    ...(reason === undefined ? {} : { reason }),
  };
}

export function toWaveView(wave: Wave): WaveView {
  const { id, state, createdAt, startedAt, finishedAt, error, counts } = wave;
  const { kind, repository, channel, to, from, by, automatic, undoes } = wave.request;
  return {
    id,
    kind,
    state,
    repository,
    channel,
    to,
    by,
    automatic,
    createdAt,
    ...(from === undefined ? {} : { from }),
    ...(undoes === undefined ? {} : { undoes }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(error === undefined ? {} : { error }),
    ...(counts === undefined ? {} : { counts: { ...counts } }),
  };
}

export function toDetailView(
  { wave, images }: { wave: Wave; images: readonly WaveImage[] },
  sees: Sees,
): WaveDetailView {
  const seen = images.filter(({ repository }) => sees(repository));
  return {
    wave: toWaveView(wave),
    hidden: images.length - seen.length,
    images: seen.map(({ repository, digest, newDigest, tags, action, outcome, canary, ...image }) => ({
      repository,
      digest,
      tags: tags.map(({ tag }) => tag),
      action,
      canary: canary === true,
      ...(newDigest === undefined ? {} : { newDigest }),
      ...(outcome === undefined ? {} : { outcome }),
      ...(image.reason === undefined ? {} : { reason: image.reason }),
      ...(image.moved === undefined ? {} : { moved: [...image.moved] }),
      ...(image.left === undefined ? {} : { left: [...image.left] }),
      ...(image.build === undefined ? {} : { build: image.build }),
    })),
  };
}
