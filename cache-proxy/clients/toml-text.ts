/** A string as TOML writes it. JSON's form of a string is one of TOML's, but for DEL, which no checked value has. */
export function tomlText(text: string): string {
  return JSON.stringify(text);
}
