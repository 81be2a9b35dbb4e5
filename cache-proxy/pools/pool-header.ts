/** Header of every answer that came through a pool, whoever made it: the pool's name. By it `brickyard doctor --pool` knows that the pool was asked. */
export const poolHeader = 'X-Brickyard-Pool';
