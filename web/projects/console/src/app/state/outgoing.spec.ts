import { ApiProblem } from '../core/problem';
import { message } from './testing';
import { Outgoing } from './outgoing';

describe('what is being sent', () => {
  it('is the same request for as long as nobody knows whether it was taken', () => {
    const outgoing = new Outgoing();
    const { clientRef, body } = outgoing.compose(1, 1, { text: 'hola' });
    const key = outgoing.keyOf(clientRef);
    outgoing.failed(clientRef, new ApiProblem(0, 'network', ''));
    outgoing.failed(clientRef, new ApiProblem(503, 'unavailable', ''));
    expect(outgoing.keyOf(clientRef)).toBe(key);
    expect(outgoing.again(clientRef)).toEqual(body);
  });

  it('is another request after a refusal, with the same reference', () => {
    const outgoing = new Outgoing();
    const { clientRef } = outgoing.compose(1, 1, { text: 'hola' });
    const key = outgoing.keyOf(clientRef);
    outgoing.failed(clientRef, new ApiProblem(422, 'window_closed', ''));
    expect(outgoing.keyOf(clientRef)).not.toBe(key);
    expect(outgoing.again(clientRef)?.client_ref).toBe(clientRef);
  });

  it('is shown as what it is', () => {
    const outgoing = new Outgoing();
    const media = (mime_type: string) => ({
      id: 'f',
      status: 'stored' as const,
      mime_type,
      filename: 'f',
      size: 1,
      sha256: null,
      voice: false,
      animated: false,
    });
    const typeOf = (draft: Parameters<Outgoing['compose']>[2]) =>
      outgoing.compose(1, 1, draft).message.type;
    expect(typeOf({ text: 'a' })).toBe('text');
    expect(typeOf({ media: media('image/png') })).toBe('image');
    expect(typeOf({ media: media('image/webp') })).toBe('sticker');
    expect(typeOf({ media: media('application/pdf') })).toBe('document');
    expect(typeOf({ template: { name: 't', language: 'es', components: [], text: 'Hola' } })).toBe(
      'template',
    );
  });

  it('answers by the message’s own id, and quotes by the provider’s', () => {
    const outgoing = new Outgoing();
    const replyTo = message('m', { wa_message_id: 'wamid.m' });
    const sent = outgoing.compose(1, 1, { text: 'a', replyTo });
    expect(sent.body.reply_to).toBe('m');
    expect(sent.message.reply_to).toBe('wamid.m');
  });
});
