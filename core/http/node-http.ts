/**
 * `node:http`, without what an import of it brings along: for that Node evaluates every name it exports, and some of them load its whole fetch client
 * and WebSocket, which takes every process 50 ms and 15 MB. Types are imported from `node:http` as always.
 */
export const { Agent, createServer, request } = process.getBuiltinModule('node:http');
