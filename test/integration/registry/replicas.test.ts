import { replicasSuite } from './replicas-suite.ts';

replicasSuite('bytes through the registry', { env: {} });
