/** Stands for the catalog that ships, among folders and repositories of others. */
export const shippedWord = 'shipped';
