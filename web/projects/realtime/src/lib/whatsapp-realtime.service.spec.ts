import { TestBed } from '@angular/core/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { jwt } from '../testing/fixtures';
import { pass } from '../testing/harness';
import { ScriptedServer } from '../testing/scripted-server';
import { EVENT_TYPES } from './core/types';
import { CONDORITO_REALTIME_PLATFORM, provideCondoritoRealtime } from './provide';
import { WebSocketConnectionState } from './core/status';
import { WhatsAppRealtimeService } from './whatsapp-realtime.service';

describe('WhatsAppRealtimeService', () => {
  let server: ScriptedServer;
  let service: WhatsAppRealtimeService;

  beforeEach(() => {
    vi.useFakeTimers({ now: Date.parse('2026-11-24T10:00:00Z') });
    server = new ScriptedServer();
    TestBed.configureTestingModule({
      providers: [
        provideCondoritoRealtime(() => ({ url: 'https://rt.example', token: () => jwt({}) })),
        {
          provide: CONDORITO_REALTIME_PLATFORM,
          useValue: { fetch: server.fetch, openSocket: server.openSocket, locks: null },
        },
      ],
    });
    service = TestBed.inject(WhatsAppRealtimeService);
  });
  afterEach(() => vi.useRealTimers());

  it('tells the state, the present one first', async () => {
    const states: WebSocketConnectionState[] = [];
    service.connect().subscribe((state) => states.push(state));
    expect(states).toEqual([WebSocketConnectionState.CONNECTING]);
    await pass(20);
    server.isReachable = false;
    server.cut();
    await pass(60_000);
    server.isReachable = true;
    await pass(30_000);
    service.disconnect();
    expect(states).toEqual([
      'connecting',
      'connected',
      'connecting',
      'error',
      'connected',
      'disconnected',
    ]);
  });

  it('connects once, however often it is asked to', async () => {
    service.connect().subscribe();
    service.connect().subscribe();
    await pass(20);
    expect(server.sockets).toHaveLength(1);
  });

  it('emits the data of all nine types, and whole events', async () => {
    service.connect();
    await pass(20);
    const data = new Map<string, unknown>();
    const whole: unknown[] = [];
    for (const type of EVENT_TYPES) service.onMessage(type).subscribe((d) => data.set(type, d));
    service.events().subscribe((event) => whole.push(event));
    const sent = EVENT_TYPES.map((type) => server.emit(type));
    await pass(20);
    expect([...data]).toEqual(sent.map((event) => [event.type, event.data]));
    expect(whole).toEqual(sent);
  });

  it('types what it emits', () => {
    service.onMessage('new_message').subscribe(({ message, conversation }) => {
      const text: string | null = message.text;
      const phone: string | null = conversation.contact.phone;
      return [text, phone];
    });
    service.onMessage('bulk_message_completed').subscribe(({ successCount }) => {
      const count: number = successCount;
      return count;
    });
    service.events('stats_updated').subscribe(({ id, data }) => [id, data.stats.delivery_rate]);
    service.onMessage('some_later_type').subscribe((anything) => anything.of.any.shape);
    expect(service.state()).toBe('disconnected');
  });

  it('shows in signals where it stands', async () => {
    service.connect();
    await pass(20);
    server.emit();
    await pass(300);
    expect(service.state()).toBe(WebSocketConnectionState.CONNECTED);
    expect(service.transport()).toBe('websocket');
    expect(service.cursor()).toBe('k3v9q-1-0');
    expect(service.snapshot()?.cursor).toBe('k3v9q-0-0');
    expect(service.indicator()).toMatchObject({ level: 'live', role: 'alone', failures: 0 });
  });

  it('sends, and answers as a frame or a promise', async () => {
    service.connect();
    await pass(20);
    const acks: unknown[] = [];
    service.onMessage('ack').subscribe((ack) => acks.push(ack));
    const data = { conversation_id: 1, text: 'hola' };
    service.sendMessage({ type: 'send_message', ref: 'r1', data });
    const answer = service.request({ type: 'mark_read', data: { conversation_id: 1 } });
    await pass(100);
    expect(acks).toMatchObject([{ ref: 'r1', cursor: 'k3v9q-1-0' }]);
    expect(await answer).toEqual({ ref: null });
  });

  it('ends with the application', async () => {
    service.connect();
    await pass(20);
    TestBed.resetTestingModule();
    expect(server.connections).toBe(0);
  });
});
