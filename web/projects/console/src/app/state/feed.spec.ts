import { effect, provideZonelessChangeDetection, signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { WhatsAppRealtimeService } from '@condorito/realtime';
import { Subject } from 'rxjs';

import { Api } from '../core/api';
import type { Message, PublicEvent, Snapshot } from '../core/model';
import { BulkStore } from './bulk-store';
import { ConversationStore } from './conversation-store';
import { Feed } from './feed';
import { OverviewStore } from './overview-store';
import { at, conversation, message } from './testing';
import { ThreadStore } from './thread-store';
import { TypingStore } from './typing-store';

const FRAME_MS = 20;

function snapshot(more: Partial<Snapshot> = {}): Snapshot {
  const today = { received: 0, sent: 0, delivered: 0, read: 0, failed: 0 };
  return {
    cursor: 'e-1-0',
    conversations: [conversation(1, at(1)), conversation(2, at(2))],
    stats: {
      ...today,
      total_messages: 0,
      queued: 0,
      today,
      conversations: { total: 2, open: 2, pending: 0, closed: 0, unread: 0 },
      delivery_rate: 0,
      read_rate: 0,
      avg_first_response_ms: null,
      updated_at: at(1),
    },
    botStatus: { status: 'active', reason: null, changed_by: null, changed_at: at(1) },
    whatsappState: {
      status: 'connected',
      phone_number: null,
      name: null,
      qr: null,
      quality: null,
      reason: null,
      changed_at: at(1),
    },
    bulks: [],
    ...more,
  };
}

/** The page's state with a scripted feed and a scripted REST interface. */
function setUp(history: readonly Message[] = []) {
  const events = new Subject<PublicEvent>();
  const frames = { snapshot: new Subject<Snapshot>(), typing: new Subject<unknown>() };
  const realtime = {
    onMessage: (type: keyof typeof frames) => frames[type],
    events: () => events,
    connect: () => new Subject<string>(),
    indicator: signal(null),
  };
  const api = {
    messages: vi.fn(() => Promise.resolve({ messages: history, next: null })),
    send: vi.fn(() => new Promise<Message>(() => undefined)),
    bulk: vi.fn(() => Promise.reject(new Error('not now'))),
  };
  // jsdom has none.
  vi.stubGlobal('matchMedia', () => ({ matches: false, addEventListener: () => undefined }));
  TestBed.configureTestingModule({
    providers: [
      provideZonelessChangeDetection(),
      { provide: WhatsAppRealtimeService, useValue: realtime },
      { provide: Api, useValue: api },
    ],
  });
  TestBed.inject(Feed).start();
  let number = 0;
  const arrives = (type: string, data: unknown) =>
    events.next({ id: `e-${++number}-0`, type, time: at(50), data } as PublicEvent);
  const writes = (id: string, second: number, conversationId = 1) => {
    const written = message(id, {
      conversation_id: conversationId,
      direction: 'inbound',
      sender: 'contact',
      status: 'received',
      timestamp: at(second),
    });
    arrives('new_message', {
      message: written,
      conversation: conversation(conversationId, at(second)),
    });
  };
  return {
    api,
    arrives,
    writes,
    begins: (more?: Partial<Snapshot>) => frames.snapshot.next(snapshot(more)),
    types: (data: unknown) => frames.typing.next(data),
    frame: () => vi.advanceTimersByTimeAsync(FRAME_MS),
    conversations: TestBed.inject(ConversationStore),
    threads: TestBed.inject(ThreadStore),
    overview: TestBed.inject(OverviewStore),
    bulks: TestBed.inject(BulkStore),
    typing: TestBed.inject(TypingStore),
  };
}

describe('the feed in the page', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    TestBed.resetTestingModule();
  });

  it('shows the snapshot, and moves a conversation up when somebody writes in it', async () => {
    const { begins, writes, frame, conversations } = setUp();
    begins();
    await frame();
    expect(conversations.conversations().map(({ id }) => id)).toEqual([2, 1]);
    await vi.advanceTimersByTimeAsync(500);
    writes('m', 9);
    await frame();
    expect(conversations.conversations().map(({ id }) => id)).toEqual([1, 2]);
  });

  it('changes what is shown once per frame, whatever comes in', async () => {
    const { begins, writes, frame, threads } = setUp();
    begins();
    await frame();
    threads.open(1);
    await frame();
    let shown = 0;
    TestBed.runInInjectionContext(() =>
      effect(() => {
        threads.entries();
        shown++;
      }),
    );
    TestBed.tick();
    const before = shown;
    for (let n = 0; n < 500; n++) writes(`m${String(n).padStart(3, '0')}`, 10);
    TestBed.tick();
    expect(shown).toBe(before);
    await frame();
    TestBed.tick();
    expect(shown).toBe(before + 1);
    expect(threads.entries().at(-1)?.message.id).toBe('m499');
  });

  it('joins the history that is read with the events that come meanwhile', async () => {
    const history = [message('b', { timestamp: at(4) }), message('a', { timestamp: at(3) })];
    const { begins, writes, arrives, frame, threads } = setUp(history);
    begins();
    await frame();
    threads.open(1);
    writes('c', 5);
    arrives('message_status_updated', { message_id: 'b', conversation_id: 1, status: 'read' });
    await frame();
    expect(threads.entries().map(({ message: { id } }) => id)).toEqual(['a', 'b', 'c']);
    expect(threads.entries()[1].message.status).toBe('read');
  });

  it('keeps a conversation that was open complete, for when it is opened again', async () => {
    const { begins, writes, frame, threads, api } = setUp();
    begins();
    await frame();
    threads.open(1);
    await frame();
    threads.open(2);
    writes('m', 9, 1);
    await frame();
    threads.open(1);
    expect(threads.entries().map(({ message: { id } }) => id)).toEqual(['m']);
    expect(api.messages).toHaveBeenCalledTimes(2);
  });

  it('reads everything anew after a reset, and keeps what is still being sent', async () => {
    const { begins, writes, frame, threads, api } = setUp([message('kept', { timestamp: at(3) })]);
    begins();
    await frame();
    threads.open(1);
    await frame();
    writes('before', 4);
    threads.send(1, 1, { text: 'on its way' });
    await frame();
    begins({ conversations: [conversation(1, at(7))] });
    await frame();
    expect(api.messages).toHaveBeenCalledTimes(2);
    expect(threads.entries().map((entry) => [entry.message.text, entry.delivery])).toEqual([
      ['text of kept', 'server'],
      ['on its way', 'sending'],
    ]);
  });

  it('shows what of the latest state there is', async () => {
    const { begins, arrives, frame, overview } = setUp();
    begins();
    const { stats, botStatus, whatsappState } = snapshot();
    arrives('stats_updated', { stats: { ...stats, queued: 3 } });
    arrives('stats_updated', { stats: { ...stats, queued: 4 } });
    arrives('bot_status_changed', { botStatus: { ...botStatus, status: 'paused' } });
    arrives('whatsapp_status_changed', { whatsappState: { ...whatsappState, status: 'qr' } });
    await frame();
    expect(overview.stats()?.queued).toBe(4);
    expect(overview.bot()?.status).toBe('paused');
    expect(overview.whatsapp()?.status).toBe('qr');
  });

  it('shows who else is writing, for a while and until they have written', async () => {
    const { begins, arrives, frame, types, typing } = setUp();
    begins();
    types({ conversation_id: 1, agent: 'Luis', typing: true });
    types({ conversation_id: 2, agent: 'Eva', typing: true });
    expect([...typing.agents()]).toEqual([
      [1, 'Luis'],
      [2, 'Eva'],
    ]);
    arrives('new_message', { message: message('m'), conversation: conversation(1, at(3)) });
    await frame();
    expect([...typing.agents().keys()]).toEqual([2]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(typing.agents().size).toBe(0);
  });
});
