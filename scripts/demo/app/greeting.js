export const greeting = 'Hello from a brick.';
