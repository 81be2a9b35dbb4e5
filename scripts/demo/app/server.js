import { createServer } from 'node:http';
import { greeting } from './greeting.js';

const port = Number(process.env.PORT ?? 8080);
const server = createServer((_request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`${greeting}\n`);
});
server.listen(port, () => console.log(`web listens on ${port}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
