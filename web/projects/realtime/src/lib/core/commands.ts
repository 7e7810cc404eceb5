import type { CommandError } from './types';

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
