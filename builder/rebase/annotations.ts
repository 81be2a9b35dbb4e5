/** image-spec "Pre-Defined Annotation Keys": which image this one stands on, `repository:channel`. */
export const baseNameAnnotation = 'org.opencontainers.image.base.name';

/** The manifest (or index) that `baseNameAnnotation` meant when the image was made. */
export const baseDigestAnnotation = 'org.opencontainers.image.base.digest';

export const versionAnnotation = 'org.opencontainers.image.version';

export const revisionAnnotation = 'org.opencontainers.image.revision';
