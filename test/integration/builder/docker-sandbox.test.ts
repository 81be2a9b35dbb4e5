import { describe } from 'vitest';
import { startDockerd } from '../../helpers/dockerd.ts';
import { sandboxSuite } from './docker-sandbox-suite.ts';

describe('a sandbox in Docker', () => {
  sandboxSuite(startDockerd);
});
