import { BlockList, isIP } from 'node:net';

/**
 * Whether an address lies in one of `blocks`: addresses or CIDR blocks of either family. No blocks: none does.
 * Errors: TypeError for a block that is none.
 */
export function createNetworks(blocks: readonly string[]): (address: string | undefined) => boolean {
  const list = new BlockList();
  for (const block of blocks) {
    const [network = '', prefix] = block.split('/');
    const family = isIP(network);
    if (family === 0) throw new TypeError(`not an address or CIDR block: ${block}`);
    const type = family === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(network, type);
    else list.addSubnet(network, Number(prefix), type);
  }
  return (address) => {
    if (address === undefined || blocks.length === 0) return false;
    // A listener on `::` sees IPv4 clients as ::ffff:192.0.2.1.
    const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
    const family = isIP(plain);
    return family !== 0 && list.check(plain, family === 6 ? 'ipv6' : 'ipv4');
  };
}
