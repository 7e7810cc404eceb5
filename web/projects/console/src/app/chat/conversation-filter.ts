/** Which conversations the list shows. */
import type { Conversation, ConversationStatus } from '../core/model';

export const SCOPES = ['all', 'unread', 'mine', 'unassigned'] as const;
export type Scope = (typeof SCOPES)[number];

export interface ConversationFilter {
  scope: Scope;
  status: ConversationStatus | '';
  label: string;
  /** Whose are «mine». */
  me: string;
}

export function isPlain({ scope, status, label }: ConversationFilter): boolean {
  return scope === 'all' && status === '' && label === '';
}

export function matches(conversation: Conversation, filter: ConversationFilter): boolean {
  if (filter.status !== '' && conversation.status !== filter.status) return false;
  if (filter.label !== '' && !conversation.labels.includes(filter.label)) return false;
  switch (filter.scope) {
    case 'all':
      return true;
    case 'unread':
      return conversation.unread_count > 0;
    case 'mine':
      return conversation.assigned_to === filter.me;
    case 'unassigned':
      return conversation.assigned_to === null;
  }
}
