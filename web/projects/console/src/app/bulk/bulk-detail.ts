import { Component } from '@angular/core';
@Component({ selector: 'cc-x', template: '' })
export class BulkDetail {}
