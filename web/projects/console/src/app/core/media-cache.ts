/**
 * Media as addresses that `<img>` and others take: the token is sent in a header, which they
 * cannot. The least recently used are let go of; bounded by number, since WhatsApp bounds sizes.
 */
import { Injectable, inject } from '@angular/core';

import { Api } from './api';

const KEPT_MAX = 60;

@Injectable({ providedIn: 'root' })
export class MediaCache {
  private readonly api = inject(Api);
  private readonly addresses = new Map<string, Promise<string>>();

  address(id: string): Promise<string> {
    const known = this.addresses.get(id);
    const address = known ?? this.fetch(id);
    this.addresses.delete(id);
    this.addresses.set(id, address);
    this.letGo();
    return address;
  }

  private async fetch(id: string): Promise<string> {
    try {
      return URL.createObjectURL(await this.api.media(id));
    } catch (failure) {
      this.addresses.delete(id);
      throw failure;
    }
  }

  private letGo(): void {
    if (this.addresses.size <= KEPT_MAX) return;
    const [[id, address]] = this.addresses;
    this.addresses.delete(id);
    address.then(
      (url) => URL.revokeObjectURL(url),
      () => undefined,
    );
  }
}
