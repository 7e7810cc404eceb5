/** What a token says of itself. The server judges it; this is for showing and planning only. */
export interface Claims {
  subject: string;
  clientId: number | null;
  scopes: readonly string[];
  /** Milliseconds since 1970. */
  expiresAt: number;
}

export function readClaims(token: string): Claims | null {
  try {
    const [, payload] = token.split('.');
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, '+').replace(/_/g, '/')), (char) =>
      char.charCodeAt(0),
    );
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof claims !== 'object' || claims === null) return null;
    const { sub, client_id, scope, exp } = claims as Record<string, unknown>;
    if (typeof exp !== 'number') return null;
    return {
      subject: typeof sub === 'string' ? sub : '',
      clientId: typeof client_id === 'number' ? client_id : null,
      scopes: typeof scope === 'string' ? scope.split(' ') : [],
      expiresAt: exp * 1000,
    };
  } catch {
    return null;
  }
}
