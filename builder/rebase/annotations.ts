/** image-spec "Pre-Defined Annotation Keys": which image this one stands on, `repository:channel`. */
export const baseNameAnnotation = 'org.opencontainers.image.base.name';

/** The manifest (or index) that `baseNameAnnotation` meant when the image was made. */
export const baseDigestAnnotation = 'org.opencontainers.image.base.digest';

/** Of a base image: `compatible`, `minor` or `never`; see `contract.rebase` in base.yaml. On an app's image only `never` has a meaning. */
export const rebaseAnnotation = 'org.brickyard.base.rebase';

export const versionAnnotation = 'org.opencontainers.image.version';

export const revisionAnnotation = 'org.opencontainers.image.revision';

/** Of a base image: JSON `{level, since?, sunset?, replacement?}`; see `deprecation` in base.yaml. */
export const deprecationAnnotation = 'org.brickyard.base.deprecation';
