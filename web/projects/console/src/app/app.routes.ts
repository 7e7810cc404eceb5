import type { Routes, UrlMatchResult, UrlSegment } from '@angular/router';

export const routes: Routes = [
  { path: '', pathMatch: 'full', redirectTo: 'chat' },
  { matcher: chat, loadComponent: () => import('./chat/chat-page').then((m) => m.ChatPage) },
  {
    path: 'dashboard',
    loadComponent: () => import('./dashboard/dashboard-page').then((m) => m.DashboardPage),
  },
  { path: 'bulk', loadComponent: () => import('./bulk/bulk-page').then((m) => m.BulkPage) },
  { path: 'bulk/new', loadComponent: () => import('./bulk/bulk-create').then((m) => m.BulkCreate) },
  { path: 'bulk/:id', loadComponent: () => import('./bulk/bulk-detail').then((m) => m.BulkDetail) },
  { path: '**', redirectTo: 'chat' },
];

/** `chat` and `chat/12` are one page: its list stays as it is when a conversation is chosen. */
function chat(segments: UrlSegment[]): UrlMatchResult | null {
  const [page, id, ...more] = segments;
  if (page?.path !== 'chat' || more.length > 0) return null;
  return { consumed: segments, posParams: id ? { id } : {} };
}
