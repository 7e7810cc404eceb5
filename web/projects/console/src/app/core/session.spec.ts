import { TestBed } from '@angular/core/testing';

import { Session } from './session';
import { readClaims } from './token';

function token(secondsLeft: number, subject = 'ana'): string {
  const exp = Math.floor(Date.now() / 1_000) + secondsLeft;
  const part = (value: object) => btoa(JSON.stringify(value)).replace(/=+$/, '');
  return `${part({ alg: 'HS256' })}.${part({ sub: subject, client_id: 1, scope: 'a b', exp })}.s`;
}

describe('a token', () => {
  it('tells whose it is and until when', () => {
    const claims = readClaims(token(60));
    expect(claims).toMatchObject({ subject: 'ana', clientId: 1, scopes: ['a', 'b'] });
    expect(claims!.expiresAt - Date.now()).toBeGreaterThan(58_000);
  });

  it.each(['', 'a.b.c', 'nonsense', 'a.e30.c'])('%j is none', (text) =>
    expect(readClaims(text)).toBeNull(),
  );
});

describe('the session', () => {
  beforeEach(() => {
    sessionStorage.clear();
    history.replaceState(null, '', '/');
    TestBed.resetTestingModule();
  });

  const session = () => TestBed.inject(Session);

  it('takes the token from the link, out of the address bar, and keeps it for the tab', () => {
    const given = token(3_600);
    history.replaceState(null, '', `/#token=${given}`);
    expect(session().token()).toBe(given);
    expect(location.href).not.toContain('token');
    TestBed.resetTestingModule();
    expect(session().token()).toBe(given);
  });

  it('gives a token that holds at once, and asks for one when it ends', async () => {
    sessionStorage.setItem('condorito.token', token(3_600));
    const mine = session();
    expect(await mine.freshToken()).toBe(mine.token());
    expect(await mine.freshToken()).toBe(mine.token());
    expect(mine.renewal()).toBeNull();

    mine.signIn(token(30));
    expect(await mine.freshToken()).toBe(mine.token());
    const renewed = mine.freshToken();
    expect(mine.renewal()).toBe('soon');
    const next = token(3_600, 'luis');
    mine.signIn(next);
    expect(await renewed).toBe(next);
    expect(mine.renewal()).toBeNull();
    expect(mine.claims()?.subject).toBe('luis');
  });

  it('asks again at the end when the reminder was closed', async () => {
    vi.useFakeTimers();
    sessionStorage.setItem('condorito.token', token(20));
    const mine = session();
    await mine.freshToken();
    void mine.freshToken();
    mine.renewal.set(null);
    await vi.advanceTimersByTimeAsync(21_000);
    expect(mine.renewal()).toBe('now');
    vi.useRealTimers();
  });

  it('says that the session has ended when the server refuses', () => {
    sessionStorage.setItem('condorito.token', token(3_600));
    const mine = session();
    mine.refused();
    expect(mine.renewal()).toBe('now');
  });
});
