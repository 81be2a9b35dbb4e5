import { mediaTypes } from '../../oci/media-types.ts';

const { ociManifest, ociIndex, dockerManifest, dockerManifestList } = mediaTypes;

/** Accept of a question that is about whether a manifest is there, whatever it is. */
export const manifestTypes = [ociIndex, ociManifest, dockerManifestList, dockerManifest, '*/*;q=0.5'].join(
  ', ',
);
