/** Of `JobState`, to choose from. */
export const buildStates = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'superseded'] as const;
