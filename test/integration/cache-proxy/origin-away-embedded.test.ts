import { originAwaySuite } from './origin-away-suite.ts';

originAwaySuite('embedded');
