/** Value of `return`: a status and the error body of distribution-spec "Error Codes". `message`: words without quotes. */
export function refusal(status: number, code: string, message: string): string {
  return `${status} '{"errors":[{"code":"${code}","message":"${message}"}]}'`;
}
