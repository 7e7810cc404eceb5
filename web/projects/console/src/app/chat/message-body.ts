import { ChangeDetectionStrategy, Component, computed, effect, inject, input } from '@angular/core';

import type { Message } from '../core/model';
import { filledText, valuesOf } from '../core/template-text';
import { I18n } from '../i18n/i18n';
import { TemplateStore } from '../state/template-store';
import { Icon } from '../ui/icon';
import { MediaView } from './media-view';

interface SharedContact {
  name: string;
  phones: readonly string[];
}

/** What a message says, by its type. */
@Component({
  selector: 'cc-message-body',
  imports: [Icon, MediaView],
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    @if (revoked()) {
      <p class="soft">
        <em>{{ t().thread.revoked }}</em>
      </p>
    } @else {
      @if (message().media; as media) {
        <cc-media-view [media]="media" [type]="message().type" />
      }
      @switch (message().type) {
        @case ('location') {
          @if (place(); as place) {
            <a class="place" [href]="place.link" target="_blank" rel="noopener noreferrer">
              <cc-icon name="pin" />
              <span>
                <strong>{{ place.name || t().thread.location }}</strong>
                @if (place.address) {
                  <small>{{ place.address }}</small>
                }
                <small class="soft">{{ place.coordinates }} · {{ t().thread.openMap }}</small>
              </span>
            </a>
          }
        }
        @case ('contacts') {
          @for (contact of contacts(); track $index) {
            <div class="person">
              <cc-icon name="person" />
              <span>
                <strong>{{ contact.name || t().thread.contact }}</strong>
                @for (phone of contact.phones; track phone) {
                  <a [href]="'tel:' + phone">{{ phone }}</a>
                }
              </span>
            </div>
          }
        }
        @case ('order') {
          <p><cc-icon name="file" /> {{ t().thread.order(orderSize()) }}</p>
        }
        @case ('template') {
          <p class="kind small soft"><cc-icon name="template" />{{ t().thread.template }}</p>
        }
        @case ('unsupported') {
          <p class="soft">{{ t().thread.unsupported }}</p>
        }
        @case ('system') {
          @if (!message().text) {
            <p class="soft">{{ t().thread.system }}</p>
          }
        }
      }
      @if (text(); as text) {
        <p class="text">{{ text }}</p>
      }
    }
  `,
  styles: `
    :host {
      display: grid;
      gap: 0.3rem;
    }
    .text {
      white-space: pre-wrap;
      overflow-wrap: anywhere;
    }
    .kind {
      display: flex;
      align-items: center;
      gap: 0.3rem;
      --icon-size: 1rem;
    }
    .place,
    .person {
      display: flex;
      gap: 0.6rem;
      align-items: flex-start;
      color: inherit;
      text-decoration: none;
    }
    .place cc-icon {
      color: var(--bad);
    }
    .place span,
    .person span {
      display: grid;
    }
    .place:hover strong {
      text-decoration: underline;
    }
  `,
})
export class MessageBody {
  private readonly templates = inject(TemplateStore);
  protected readonly t = inject(I18n).t;
  readonly message = input.required<Message>();

  private readonly payload = computed(() => this.message().payload ?? {});
  protected readonly revoked = computed(() => this.payload()['revoked_at'] !== undefined);

  protected readonly text = computed(() => {
    const { type, text } = this.message();
    if (text !== null || type !== 'template') return text;
    const { name, language, components } = this.payload();
    const template = this.templates.find(name, language);
    return template ? filledText(template, valuesOf(components)) : String(name ?? '');
  });

  protected readonly place = computed(() => {
    const { latitude, longitude, name, address } = this.payload();
    if (typeof latitude !== 'number' || typeof longitude !== 'number') return null;
    const coordinates = `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;
    const at = `mlat=${latitude}&mlon=${longitude}#map=16/${latitude}/${longitude}`;
    return {
      name: typeof name === 'string' ? name : '',
      address: typeof address === 'string' ? address : '',
      coordinates,
      link: `https://www.openstreetmap.org/?${at}`,
    };
  });

  protected readonly contacts = computed<readonly SharedContact[]>(() => {
    const shared = this.payload()['contacts'];
    return Array.isArray(shared) ? shared.map(readContact) : [];
  });

  protected readonly orderSize = computed(() => {
    const items = this.payload()['product_items'];
    return Array.isArray(items) ? items.length : 0;
  });

  constructor() {
    effect(() => {
      if (this.message().type === 'template') this.templates.load();
    });
  }
}

function readContact(shared: unknown): SharedContact {
  const { name, phones } = (shared ?? {}) as {
    name?: { formatted_name?: unknown };
    phones?: { phone?: unknown }[];
  };
  const numbers = Array.isArray(phones) ? phones.map(({ phone }) => phone) : [];
  return {
    name: typeof name?.formatted_name === 'string' ? name.formatted_name : '',
    phones: numbers.filter((phone): phone is string => typeof phone === 'string'),
  };
}
