import { describe } from 'vitest';
import { startPodman } from '../../helpers/podman.ts';
import { sandboxSuite } from './docker-sandbox-suite.ts';

describe('a sandbox in Podman', () => {
  sandboxSuite(startPodman);
});
