import type { PromotionHistory } from '../../registry/http/promotion-routes.ts';
import type { ServerApi } from '../server-api.ts';

/** What the server remembers of an image beside the image itself; nothing where the server says nothing of promotions. Errors: UserError. */
export async function readImageHistory(
  api: Pick<ServerApi, 'optional'>,
  image: { readonly repository: string; readonly digest: string },
): Promise<Partial<PromotionHistory>> {
  const query = new URLSearchParams({ repository: image.repository, digest: image.digest });
  const history = await api.optional<PromotionHistory>(`/api/v1/promotions?${query.toString()}`);
  if (history === undefined) return {};
  const { promotions, builds = [] } = history;
  return {
    ...(builds.length === 0 ? {} : { builds }),
    ...(promotions.length === 0 ? {} : { promotions }),
  };
}
