/**
 * Carries out commands: what changes something goes by HTTP with an `Idempotency-Key`, so that it
 * can be repeated until there is an answer and is done once; what is of the moment goes over the
 * WebSocket, while there is one. Commands for one conversation keep their order.
 */
import type { Connector } from './connector';
import { readProblem } from './links/http';
import { authorization, describe, type LinkContext } from './links/link';
import type { Ack, CommandError, ControlFramesByType, EventFilter, Frame } from './types';
import { sleep } from './within';

/** Commands under way at once; further ones are refused. */
const COMMANDS_MAX = 256;
/** How long an answer over the WebSocket is waited for. */
const SOCKET_ANSWER_MS = 10_000;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 8_000;

/** Whoever carried the command out has ended before there was an answer. */
const INTERRUPTED = 'interrupted';

/** A command that was not done, with the server's reason or the client's. */
export class RealtimeCommandError extends Error {
  override readonly name = 'RealtimeCommandError';
  readonly code: string;
  readonly errors: CommandError['errors'];

  constructor(error: CommandError) {
    super(error.message);
    this.code = error.code;
    this.errors = error.errors;
  }
}

export type AnswerFrame = ControlFramesByType['ack'] | ControlFramesByType['error'];

export interface AnyCommand {
  type: string;
  ref?: string | number | null;
  data?: Record<string, unknown>;
}

type Outcome = { ack: Omit<Ack, 'ref'> } | { error: Omit<CommandError, 'ref'> };

/** Carries out a command; `key` is the same when one is repeated. */
export interface CommandDesk {
  execute(command: AnyCommand, key: string): Promise<AnswerFrame>;
}

export function isCommand(value: unknown): value is AnyCommand {
  return (
    typeof value === 'object' && value !== null && typeof (value as AnyCommand).type === 'string'
  );
}

export function isInterrupted({ type, data }: AnswerFrame): boolean {
  return type === 'error' && 'code' in data && data.code === INTERRUPTED;
}

export function failure(ref: AnyCommand['ref'], code: string, message: string): AnswerFrame {
  return { type: 'error', data: { ref: ref ?? null, code, message } };
}

export class ConnectedDesk implements CommandDesk {
  private readonly ending = new AbortController();
  private readonly answers = new Map<string, (frame: AnswerFrame) => void>();
  private readonly lanes = new Map<unknown, Promise<unknown>>();
  private underWay = 0;
  private marks = 0;

  constructor(
    private readonly context: LinkContext,
    private readonly connector: Connector,
  ) {}

  async execute(command: AnyCommand, key: string): Promise<AnswerFrame> {
    const { ref } = command;
    if (this.underWay >= COMMANDS_MAX) {
      return failure(ref, 'too_many_commands', 'Too many commands are waiting for their answers.');
    }
    this.underWay += 1;
    try {
      const outcome = await this.inOrder(command, () => this.carryOut(command, key));
      return 'ack' in outcome
        ? { type: 'ack', data: { ...outcome.ack, ref: ref ?? null } }
        : { type: 'error', data: { ...outcome.error, ref: ref ?? null } };
    } finally {
      this.underWay -= 1;
    }
  }

  /** Whether the frame answers a command of ours. */
  takes(frame: Frame): boolean {
    if (frame.type !== 'ack' && frame.type !== 'error') return false;
    const answer = this.answers.get(`${frame.data.ref}`);
    answer?.(frame);
    return answer !== undefined;
  }

  close(): void {
    this.ending.abort();
  }

  /** One after the other, for what concerns the same conversation. */
  private async inOrder(command: AnyCommand, run: () => Promise<Outcome>): Promise<Outcome> {
    const lane = command.data?.['conversation_id'];
    if (command.type !== 'send_message' || lane === undefined) return run();
    const turn = (this.lanes.get(lane) ?? Promise.resolve()).then(run);
    this.lanes.set(lane, turn);
    try {
      return await turn;
    } finally {
      if (this.lanes.get(lane) === turn) this.lanes.delete(lane);
    }
  }

  private async carryOut(command: AnyCommand, key: string): Promise<Outcome> {
    const { conversation_id: id, ...body } = command.data ?? {};
    switch (command.type) {
      case 'send_message':
        return this.post(`/v1/conversations/${Number(id)}/messages`, body, key);
      case 'mark_read':
        return (
          (await this.overSocket(command)) ??
          this.post(`/v1/conversations/${Number(id)}/read`, {}, key)
        );
      case 'subscribe':
        this.connector.setFilter(readFilter(command.data));
        return { ack: {} };
      case 'auth':
        return refusal('not_available', 'The token is taken from the callback.');
      default:
        return (
          (await this.overSocket(command)) ??
          refusal('not_available', 'This needs a WebSocket, and there is none at the moment.')
        );
    }
  }

  /** Over the WebSocket; `null` when there is none, or it did not answer. */
  private overSocket(command: AnyCommand): Promise<Outcome | null> {
    this.marks += 1;
    const ref = `command:${this.marks}`;
    if (!this.connector.send(JSON.stringify({ ...command, ref }))) return Promise.resolve(null);
    return new Promise((resolve) => {
      const settle = (outcome: Outcome | null): void => {
        clearTimeout(timer);
        this.answers.delete(ref);
        resolve(outcome);
      };
      const timer = setTimeout(() => settle(null), SOCKET_ANSWER_MS);
      this.answers.set(ref, (frame) => {
        settle(frame.type === 'ack' ? { ack: frame.data } : { error: frame.data });
      });
    });
  }

  /** By HTTP, repeated until there is an answer or it takes too long. */
  private async post(path: string, body: object, key: string): Promise<Outcome> {
    const { platform, options, tokens } = this.context;
    const until = platform.now() + options.timings.commandTimeoutMs;
    let delayMs = RETRY_MIN_MS;
    let last = 'There was no answer.';
    while (platform.now() < until && !this.ending.signal.aborted) {
      let retryAfterMs = 0;
      try {
        const response = await this.request(path, body, key);
        const problem = response.ok ? null : await readProblem(response);
        if (response.ok) return { ack: (await response.json()) as Omit<Ack, 'ref'> };
        if (response.status === 401) tokens.forget();
        else if (problem && response.status < 500 && response.status !== 429) {
          const { code, detail, errors } = problem;
          return { error: { code, message: detail, errors } };
        }
        last = problem?.detail ?? `The answer was ${response.status}.`;
        retryAfterMs = 1_000 * Number(response.headers.get('retry-after') ?? 0) || 0;
      } catch (error) {
        last = describe(error);
      }
      await sleep(Math.max(delayMs, retryAfterMs), this.ending.signal);
      delayMs = Math.min(delayMs * 2, RETRY_MAX_MS);
    }
    if (this.ending.signal.aborted) return refusal(INTERRUPTED, 'The connection was ended.');
    return refusal('timeout', last);
  }

  private async request(path: string, body: object, key: string): Promise<Response> {
    const { platform, options, tokens } = this.context;
    const token = await tokens.get();
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), options.timings.requestTimeoutMs);
    const url = new URL(options.baseUrl + path);
    if (options.tokenInUrl) url.searchParams.set('access_token', token);
    try {
      return await platform.fetch(url.href, {
        method: 'POST',
        headers: {
          ...authorization(this.context, token),
          'Content-Type': 'application/json',
          'Idempotency-Key': key,
        },
        body: JSON.stringify(body),
        signal: limit.signal,
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

function refusal(code: string, message: string): Outcome {
  return { error: { code, message } };
}

function readFilter(data: AnyCommand['data']): EventFilter {
  const { types, conversation_id: conversationId } = data ?? {};
  return {
    types: Array.isArray(types) ? types : undefined,
    conversationId: typeof conversationId === 'number' ? conversationId : undefined,
  };
}
