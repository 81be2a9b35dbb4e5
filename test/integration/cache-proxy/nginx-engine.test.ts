import { startNginxEngine } from '../../../cache-proxy/nginx/pool-engine.ts';
import { poolEngineSuite } from '../../suites/pool-engine.ts';

poolEngineSuite('nginx', { kind: 'nginx', start: startNginxEngine, verifies: false });
