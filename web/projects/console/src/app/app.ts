import { Component } from '@angular/core';
@Component({ selector: 'cc-root', template: '' })
export class App {}
