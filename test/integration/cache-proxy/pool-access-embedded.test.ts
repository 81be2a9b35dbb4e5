import { startEmbeddedEngine } from '../../../cache-proxy/embedded/start-embedded-engine.ts';
import { poolAccessSuite } from '../../suites/pool-access.ts';

poolAccessSuite('embedded', { kind: 'embedded', start: startEmbeddedEngine });
