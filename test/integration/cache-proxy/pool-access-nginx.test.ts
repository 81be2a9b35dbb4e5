import { startNginxEngine } from '../../../cache-proxy/nginx/pool-engine.ts';
import { poolAccessSuite } from '../../suites/pool-access.ts';

poolAccessSuite('nginx', { kind: 'nginx', start: startNginxEngine });
