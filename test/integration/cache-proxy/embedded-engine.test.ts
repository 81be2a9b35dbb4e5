import { startEmbeddedEngine } from '../../../cache-proxy/embedded/start-embedded-engine.ts';
import { poolEngineSuite } from '../../suites/pool-engine.ts';

poolEngineSuite('the embedded engine', { kind: 'embedded', start: startEmbeddedEngine, verifies: true });
