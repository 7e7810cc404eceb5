import { bootstrapApplication } from '@angular/platform-browser';

import { App } from './app/app';
import { appConfig } from './app/app.config';

// The page that most begin with loads beside the rest, not after it.
if (!/^#\/(dashboard|bulk)/.test(location.hash)) void import('./app/chat/chat-page');

bootstrapApplication(App, appConfig).catch((failure: unknown) => console.error(failure));
