import type { Message } from '../core/model';
import { at, message } from './testing';
import { MESSAGES_MAX, Thread } from './thread';

const ids = (thread: Thread) => thread.entries().map((entry) => entry.message.id);
const status = (thread: Thread, id: string) => thread.find(id)?.message.status;

function sending(thread: Thread, clientRef: string) {
  const local = message(`local:${clientRef}`, { client_ref: clientRef, timestamp: at(30) });
  thread.addSending(local, clientRef);
}

describe('the order of a thread', () => {
  it('is by time, then id, however messages come', () => {
    const thread = new Thread(1);
    thread.receive(message('c', { timestamp: at(3) }));
    thread.receive(message('a', { timestamp: at(1) }));
    thread.receive(message('bb', { timestamp: at(2) }));
    thread.receive(message('ba', { timestamp: at(2) }));
    expect(ids(thread)).toEqual(['a', 'ba', 'bb', 'c']);
  });

  it('joins pages of history with live messages, each once', () => {
    const thread = new Thread(1);
    thread.receive(message('4', { timestamp: at(4) }));
    const page = [4, 3, 2].map((n) => message(String(n), { timestamp: at(n) }));
    thread.addPage(page, '2');
    thread.addPage([message('1', { timestamp: at(1) })], null);
    thread.receive(message('3', { timestamp: at(3) }));
    expect(ids(thread)).toEqual(['1', '2', '3', '4']);
    expect(thread.older).toBeNull();
  });

  it('puts what is being sent last, even when the clock here is behind', () => {
    const thread = new Thread(1);
    sending(thread, 'ref');
    thread.receive(message('x', { direction: 'inbound', status: 'received', timestamp: at(59) }));
    expect(ids(thread)).toEqual(['x', 'local:ref']);
  });
});

describe('statuses', () => {
  it('only advance', () => {
    const thread = new Thread(1);
    thread.receive(message('m'));
    const heard = ['delivered', 'sent', 'read', 'delivered', 'failed', 'queued'] as const;
    const shown = heard.map((next) => {
      thread.advance('m', next, null, at(9));
      return status(thread, 'm');
    });
    expect(shown).toEqual(['delivered', 'delivered', 'read', 'read', 'read', 'read']);
  });

  it('of a failed message stay failed, with the reason, until it turns out to have arrived', () => {
    const thread = new Thread(1);
    const error = { code: 131047, title: 'Re-engagement message', detail: 'More than 24 hours' };
    thread.receive(message('m'));
    thread.advance('m', 'failed', error, at(2));
    thread.advance('m', 'sent', null, at(3));
    expect(thread.find('m')?.message.error).toEqual(error);
    thread.advance('m', 'delivered', null, at(4));
    expect(thread.find('m')?.message).toMatchObject({ status: 'delivered', error: null });
  });

  it('that come before their message count when it comes', () => {
    const thread = new Thread(1);
    thread.advance('m', 'read', null, at(2));
    thread.advance('m', 'sent', null, at(2));
    thread.receive(message('m', { status: 'queued' }));
    expect(status(thread, 'm')).toBe('read');
  });

  it('are not taken back by an older copy of the message', () => {
    const thread = new Thread(1);
    thread.receive(message('m', { status: 'delivered' }));
    thread.receive(message('m', { status: 'sent' }));
    expect(status(thread, 'm')).toBe('delivered');
  });

  it('end the same in any order', () => {
    const all = ['queued', 'sent', 'failed', 'delivered', 'read'] as const;
    for (let turn = 0; turn < all.length; turn++) {
      const thread = new Thread(1);
      thread.receive(message('m'));
      const order = [...all.slice(turn), ...all.slice(0, turn)];
      for (const next of order) thread.advance('m', next, null, at(5));
      expect(status(thread, 'm')).toBe('read');
    }
  });
});

describe('a message sent here', () => {
  const stored = (more: Partial<Message> = {}) =>
    message('m', { client_ref: 'ref', timestamp: at(31), ...more });

  it('is shown at once and keeps its key when the server has it', () => {
    const thread = new Thread(1);
    sending(thread, 'ref');
    expect(thread.entries()[0]).toMatchObject({ key: 'ref', delivery: 'sending' });
    thread.receive(stored());
    expect(thread.entries()).toHaveLength(1);
    expect(thread.entries()[0]).toMatchObject({ key: 'ref', delivery: 'server' });
  });

  it('stands once whether the answer or the event comes first', () => {
    const thread = new Thread(1);
    sending(thread, 'ref');
    thread.receive(stored({ status: 'sent' }));
    thread.receive(stored({ status: 'queued' }));
    expect(ids(thread)).toEqual(['m']);
    expect(status(thread, 'm')).toBe('sent');
  });

  it('says why it did not get there, and goes again', () => {
    const thread = new Thread(1);
    sending(thread, 'ref');
    thread.notSent('ref', 'no connection');
    expect(thread.entries()[0]).toMatchObject({ delivery: 'unsent', problem: 'no connection' });
    thread.sendingAgain('ref');
    thread.receive(stored());
    expect(thread.entries()[0]).toMatchObject({ delivery: 'server', problem: null });
  });

  it('is not called unsent when the event came and only the answer was lost', () => {
    const thread = new Thread(1);
    sending(thread, 'ref');
    thread.receive(stored());
    thread.notSent('ref', 'no connection');
    expect(thread.entries()[0].delivery).toBe('server');
  });

  it('can be discarded while it is not the server’s', () => {
    const thread = new Thread(1);
    sending(thread, 'ref');
    thread.discard('ref');
    expect(thread.entries()).toEqual([]);
  });

  it('is not taken for another one with the same reference', () => {
    const thread = new Thread(1);
    thread.receive(message('1', { client_ref: 'same', timestamp: at(1) }));
    thread.receive(message('2', { client_ref: 'same', timestamp: at(2) }));
    expect(ids(thread)).toEqual(['1', '2']);
    expect(new Set(thread.entries().map((entry) => entry.key)).size).toBe(2);
  });
});

describe('reactions', () => {
  const reaction = (id: string, more: Partial<Message>) =>
    message(id, {
      type: 'reaction',
      direction: 'inbound',
      status: 'received',
      payload: { message_id: 'wamid.1', emoji: more.text ?? null },
      ...more,
    });

  it('stand at their message, the latest of each side, and can be taken back', () => {
    const thread = new Thread(1);
    thread.receive(reaction('r1', { text: '👍', timestamp: at(2) }));
    thread.receive(message('m', { wa_message_id: 'wamid.1' }));
    expect(thread.find('m')?.reactions).toEqual(['👍']);
    thread.receive(reaction('r2', { text: '❤️', timestamp: at(3) }));
    thread.receive(reaction('r1', { text: '👍', timestamp: at(2) }));
    thread.receive(reaction('r3', { text: '🎉', direction: 'outbound', status: 'queued' }));
    expect(thread.find('m')?.reactions).toEqual(['❤️', '🎉']);
    thread.receive(reaction('r4', { text: null, timestamp: at(4) }));
    expect(thread.find('m')?.reactions).toEqual(['🎉']);
    expect(ids(thread)).toEqual(['m']);
  });

  it('that could not be sent are not shown', () => {
    const thread = new Thread(1);
    thread.receive(message('m', { wa_message_id: 'wamid.1' }));
    thread.receive(reaction('r', { text: '🎉', direction: 'outbound', status: 'queued' }));
    thread.advance('r', 'failed', null, at(5));
    expect(thread.find('m')?.reactions).toEqual([]);
  });
});

describe('what is told of a message later', () => {
  const notice = (event: string, more: Partial<Message> = {}) =>
    message(`notice-${event}`, {
      type: 'system',
      sender: 'system',
      payload: { event, message_id: 'm', at: at(40) },
      text: null,
      ...more,
    });

  it('changes the message and is none itself', () => {
    const thread = new Thread(1);
    thread.receive(message('m'));
    thread.receive(notice('edited', { text: 'better' }));
    expect(thread.find('m')?.message.text).toBe('better');
    thread.receive(notice('revoked'));
    expect(thread.find('m')?.message).toMatchObject({ text: null });
    expect(thread.find('m')?.message.payload?.['revoked_at']).toBe(at(40));
    expect(ids(thread)).toEqual(['m']);
  });

  it('counts also when it comes first', () => {
    const thread = new Thread(1);
    const media = {
      id: 'f',
      status: 'stored' as const,
      mime_type: 'image/png',
      filename: null,
      size: 9,
      sha256: null,
      voice: false,
      animated: false,
    };
    thread.receive(notice('media_stored', { media }));
    const pending = { ...media, status: 'pending' as const };
    thread.receive(message('m', { type: 'image', media: pending }));
    expect(thread.find('m')?.message.media?.status).toBe('stored');
  });
});

describe('the ids that the provider gives', () => {
  it('are asked for when something names a message that may be one sent from here', () => {
    const thread = new Thread(1);
    thread.receive(message('m', { status: 'queued' }));
    const answer = message('a', { direction: 'inbound', status: 'received', reply_to: 'wamid.m' });
    thread.receive(answer);
    expect(thread.lacksIds).toBe(false);
    thread.advance('m', 'sent', null, at(1));
    thread.receive(answer);
    expect(thread.lacksIds).toBe(true);
    thread.lacksIds = false;
    thread.addPage([answer, message('m', { status: 'sent', wa_message_id: 'wamid.m' })], null);
    expect(thread.findByProviderId('wamid.m')?.message.id).toBe('m');
    thread.receive(answer);
    expect(thread.lacksIds).toBe(false);
  });
});

describe('the bounds of a thread', () => {
  it('keep the newest messages, and read older ones again from there', () => {
    const thread = new Thread(1);
    thread.addPage([], null);
    for (let n = 0; n < MESSAGES_MAX + 500; n++) {
      thread.receive(message(String(n).padStart(6, '0'), { timestamp: at(n) }));
    }
    expect(thread.entries()).toHaveLength(MESSAGES_MAX);
    expect(thread.older).toBe('000500');
    thread.trim(100);
    expect(thread.entries()).toHaveLength(100);
    expect(thread.older).toBe(thread.entries()[0].message.id);
    expect(thread.find('000600')).toBeUndefined();
  });
});
