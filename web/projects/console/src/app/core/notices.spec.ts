import { provideZonelessChangeDetection } from '@angular/core';
import { TestBed } from '@angular/core/testing';

import { Notices } from './notices';
import { Preferences } from './preferences';

describe('notices', () => {
  const made: { title: string; body: string | undefined; tag: string }[] = [];
  let hidden = true;

  beforeEach(() => {
    made.length = 0;
    hidden = true;
    localStorage.clear();
    vi.useFakeTimers();
    // jsdom has neither.
    vi.stubGlobal('matchMedia', () => ({ matches: false, addEventListener: () => undefined }));
    class FakeNotification {
      static permission = 'granted';
      constructor(title: string, { body, tag }: { body?: string; tag: string }) {
        made.push({ title, body, tag });
      }
    }
    vi.stubGlobal('Notification', FakeNotification);
    vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
    TestBed.configureTestingModule({ providers: [provideZonelessChangeDetection()] });
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });

  it('come to the desktop when the user wants them and does not look at the page', () => {
    const [notices, preferences] = [TestBed.inject(Notices), TestBed.inject(Preferences)];
    notices.onDesktop('Mensaje de Ana', 'secreto', 'message-1');
    expect(made).toEqual([]);
    preferences.desktopNotices.set(true);
    hidden = false;
    notices.onDesktop('Mensaje de Ana', 'secreto', 'message-1');
    expect(made).toEqual([]);
    hidden = true;
    notices.onDesktop('Mensaje de Ana', 'secreto', 'message-1');
    expect(made).toEqual([{ title: 'Mensaje de Ana', body: undefined, tag: 'message-1' }]);
  });

  it('tell what a message says only to those who allow it', () => {
    const [notices, preferences] = [TestBed.inject(Notices), TestBed.inject(Preferences)];
    preferences.desktopNotices.set(true);
    preferences.noticesWithText.set(true);
    notices.onDesktop('Mensaje de Ana', 'hola', 'message-1');
    expect(made[0].body).toBe('hola');
  });

  it('on the page go by themselves, unless they tell of something bad; there are few', () => {
    const notices = TestBed.inject(Notices);
    notices.show('bad', 'se detuvo');
    notices.show('good', 'terminó');
    vi.advanceTimersByTime(60_000);
    expect(notices.shown().map(({ text }) => text)).toEqual(['se detuvo']);
    for (let n = 0; n < 20; n++) notices.show('plain', String(n));
    expect(notices.shown()).toHaveLength(4);
    notices.dismiss(notices.shown()[0].id);
    expect(notices.shown()).toHaveLength(3);
  });
});
