/** image-spec "Pre-Defined Annotation Keys": which image this one stands on, `repository:channel`. */
export const baseNameAnnotation = 'org.opencontainers.image.base.name';

/** The manifest (or index) that `baseNameAnnotation` meant when the image was made. */
export const baseDigestAnnotation = 'org.opencontainers.image.base.digest';

export const versionAnnotation = 'org.opencontainers.image.version';

export const revisionAnnotation = 'org.opencontainers.image.revision';

/** Of a base image, the key of the recipe that made it: equal keys, nothing to do. */
export const recipeAnnotation = 'org.brickyard.base.recipe';

/** Of a base image, its promise about its libraries; see `contract` in base.yaml. */
export const contractAnnotation = 'org.brickyard.base.abi';

/**
 * Of a base image, whether an app may be moved to a newer one: `compatible`, `minor` or `never`; absent = never. Of an app's image, `never` or
 * absent: it keeps to the base it was built on.
 */
export const rebaseAnnotation = 'org.brickyard.base.rebase';

/** Of a base image, JSON of `deprecation` in base.yaml: `{level, since?, sunset?, replacement?}`; absent = none. */
export const deprecationAnnotation = 'org.brickyard.base.deprecation';

/** How many of a manifest's first layers are the base's: where a rebase cuts. */
export const seamAnnotation = 'org.brickyard.base.layers';
