import { greeting } from './greeting.js';

console.log(`worker says: ${greeting}`);
const work = setInterval(() => console.log('worker works'), 5_000);
process.on('SIGTERM', () => clearInterval(work));
