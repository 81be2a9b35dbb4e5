import { type Digest, digestOf } from '../../../oci/digest.ts';
import type { Content, Random } from '../../helpers/fault-random.ts';
import { countOperation, type SoakCounts } from './counts.ts';
import { createImage, createIndex, pickBlobs, type SoakImage } from './image.ts';
import { isUnknownBlob, type PushOptions, pushImage, Refused } from './push-image.ts';
import type { SoakHttp } from './transport.ts';

export interface SyntheticOptions {
  readonly name: string;
  readonly http: SoakHttp;
  readonly counts: SoakCounts;
  readonly random: Random;
  readonly common: readonly Content[];
  readonly sendAgain: boolean;
}

/** A client that pushes, tags, deletes and pulls, one thing after the other, and knows what must be readable. */
export interface SyntheticClient {
  step(): Promise<void>;
  /** Everything that was acknowledged can be read, byte by byte. */
  checkAll(): Promise<void>;
  /** Tags by repository that must be there, of this client alone. */
  readonly tags: ReadonlyMap<string, SoakImage>;
}

/** Everybody pushes here; an image belongs to one client, its layers to all. */
export const sharedRepositories = ['soak/a', 'soak/a/nested', 'soak/b', 'soak-c'];
/** The same few images of everybody, pushed and deleted at once. */
export const contestedRepository = 'soak/contested';
/** Deleted whole while others push to them. */
export const doomedRepositories = ['doomed/x', 'doomed/x/y', 'doomed/z'];

const sources = [...sharedRepositories, contestedRepository, ...doomedRepositories];
/** So many images one client keeps; then it deletes before it pushes. */
const mostImages = 30;

interface OwnImage {
  readonly repository: string;
  readonly image: SoakImage;
}

export function createSyntheticClient(options: SyntheticOptions): SyntheticClient {
  const { name, http, counts, random, common } = options;
  const push: PushOptions = { http, counts, random, sources, sendAgain: options.sendAgain };
  /** By digest; an image that was deleted is in none of these. */
  const images = new Map<Digest, OwnImage>();
  /** `repository:tag` */
  const tags = new Map<string, SoakImage>();
  const contested = [1, 2, 3].map((number) =>
    createImage({ blobs: common.slice(number * 2, number * 2 + 4), note: `contested ${number}` }),
  );
  let serial = 0;
  const nextNote = (): string => `${name} ${serial++}`;

  const loss = (what: string): void =>
    void counts.losses.push(`${new Date().toISOString()} ${name}: ${what}`);

  async function pushOwn(repository: string, image: SoakImage): Promise<void> {
    const tag = random.chance(0.85) ? `${name}-${random.below(20)}` : undefined;
    try {
      await pushImage(push, repository, image, tag ?? image.digest);
    } catch (error) {
      counts.failedPushes.push(`${new Date().toISOString()} ${name}: ${String(error)}`);
      // Nobody knows what the tag is now.
      if (!(error instanceof Refused)) tags.delete(`${repository}:${tag}`);
      return;
    }
    images.set(image.digest, { repository, image });
    if (tag !== undefined) tags.set(`${repository}:${tag}`, image);
  }

  async function pushNew(): Promise<void> {
    const note = nextNote();
    await pushOwn(
      random.pick(sharedRepositories),
      createImage({ blobs: pickBlobs(common, note, random), note }),
    );
    countOperation(counts, 'push');
  }

  async function pushIndexOrReferrer(): Promise<void> {
    const { repository, image } = random.pick([...images.values()]);
    const note = nextNote();
    if (random.chance(0.5)) {
      const others = [...images.values()].filter((own) => own.repository === repository).slice(0, 3);
      await pushOwn(
        repository,
        createIndex(
          others.map((own) => own.image),
          note,
        ),
      );
      countOperation(counts, 'index');
    } else {
      await pushOwn(
        repository,
        createImage({ blobs: pickBlobs(common, note, random), note, subject: image }),
      );
      countOperation(counts, 'referrer');
    }
  }

  async function retag(): Promise<void> {
    const { repository, image } = random.pick([...images.values()]);
    const tag = `${name}-${random.below(20)}`;
    // What a client does that only changes a tag: no blob is looked at.
    const answer = await http.send('PUT', `/v2/${repository}/manifests/${tag}`, {
      headers: { 'content-type': image.mediaType },
      body: image.bytes,
    });
    if (answer.status !== 201) throw new Refused(`retag ${repository}:${tag}`, answer);
    tags.set(`${repository}:${tag}`, image);
    countOperation(counts, 'retag');
  }

  async function deleteTag(): Promise<void> {
    const known = [...tags.keys()];
    if (known.length === 0) return;
    const [repository = '', tag = ''] = random.pick(known).split(':');
    const answer = await http.send('DELETE', `/v2/${repository}/manifests/${tag}`);
    const gone = answer.status === 404 && answer.retried;
    if (answer.status === 404 && !gone) loss(`${repository}:${tag} was not there to be deleted`);
    else if (answer.status !== 202 && !gone) throw new Refused(`deletion of ${repository}:${tag}`, answer);
    tags.delete(`${repository}:${tag}`);
    countOperation(counts, 'delete tag');
  }

  async function deleteManifest(): Promise<void> {
    const { repository, image } = random.pick([...images.values()]);
    const answer = await http.send('DELETE', `/v2/${repository}/manifests/${image.digest}`);
    const gone = answer.status === 404 && answer.retried;
    if (answer.status === 404 && !gone) loss(`${repository}@${image.digest} was not there to be deleted`);
    else if (answer.status !== 202 && !gone)
      throw new Refused(`deletion of ${repository}@${image.digest}`, answer);
    images.delete(image.digest);
    for (const [tag, tagged] of tags) {
      if (tagged.digest === image.digest && tag.startsWith(`${repository}:`)) tags.delete(tag);
    }
    countOperation(counts, 'delete manifest');
  }

  async function pull(repository: string, reference: string, image: SoakImage): Promise<void> {
    const what = `${repository}:${reference} (${image.digest})`;
    const manifest = await http.send('GET', `/v2/${repository}/manifests/${reference}`);
    if (manifest.status !== 200 || digestOf(manifest.body) !== image.digest) {
      loss(`${what}: ${manifest.status} ${manifest.body.toString('utf8', 0, 200)}`);
      return;
    }
    for (const blob of image.blobs) {
      const answer = await http.send('GET', `/v2/${repository}/blobs/${blob.digest}`);
      if (answer.status !== 200 || digestOf(answer.body) !== blob.digest)
        loss(`${what}: blob ${blob.digest} of ${blob.size} bytes: ${answer.status}`);
    }
    if (image.subject !== undefined) await checkReferrer(repository, image.subject, image);
  }

  async function checkReferrer(repository: string, subject: Digest, image: SoakImage): Promise<void> {
    const answer = await http.send('GET', `/v2/${repository}/referrers/${subject}`);
    const listed = answer.status === 200 && answer.body.includes(`"${image.digest}"`);
    if (!listed) loss(`${repository}@${image.digest} is not listed as a referrer of ${subject}`);
  }

  async function pullSome(): Promise<void> {
    const known = [...tags];
    const [first] = known;
    if (first === undefined) return;
    const [key, image] = random.pick(known);
    const [repository = '', tag = ''] = key.split(':');
    await pull(repository, tag, image);
    countOperation(counts, 'pull');
  }

  /** Whether they are there nobody knows; what is there must be whole, which is looked at in the end. */
  async function contest(): Promise<void> {
    const image = random.pick(contested);
    const tag = `c${random.below(3)}`;
    const dice = random.below(10);
    if (dice < 6) await pushImage(push, contestedRepository, image, tag);
    else await http.send('DELETE', `/v2/${contestedRepository}/manifests/${dice < 8 ? tag : image.digest}`);
    countOperation(counts, 'contested');
  }

  async function doom(): Promise<void> {
    const repository = random.pick(doomedRepositories);
    if (random.chance(0.2)) {
      const answer = await http.send('DELETE', `/api/v1/repositories/${repository}`);
      if (answer.status !== 200 && answer.status !== 404)
        throw new Refused(`deletion of the repository ${repository}`, answer);
      countOperation(counts, 'delete repository');
      return;
    }
    const note = nextNote();
    try {
      const image = createImage({ blobs: pickBlobs(common, note, random), note });
      await pushImage(push, repository, image, `${name}-${random.below(5)}`);
      countOperation(counts, 'push to a doomed repository');
    } catch (error) {
      if (!isUnknownBlob(error)) throw error;
      counts.refusedByDelete++;
    }
  }

  return {
    tags,
    async step() {
      const dice = random.below(100);
      if (images.size < 3) return pushNew();
      if (dice < 4) return contest();
      if (dice < 10) return doom();
      if (dice < 25) return pullSome();
      if (dice < 35) return deleteTag();
      if (dice < 50 || images.size > mostImages) return deleteManifest();
      if (dice < 60) return retag();
      if (dice < 68) return pushIndexOrReferrer();
      return pushNew();
    },
    async checkAll() {
      for (const [key, image] of tags) {
        const [repository = '', tag = ''] = key.split(':');
        await pull(repository, tag, image);
      }
      for (const { repository, image } of images.values()) await pull(repository, image.digest, image);
    },
  };
}
