/** How a client is made. */
export interface ClientOptions {
  /** Where the service is; http://127.0.0.1:8000 when left out. */
  url?: string;
  /** An API key: fw_… */
  key?: string;
  /** How often a request is tried again when the service is busy or the connection breaks: 5. */
  retries?: number;
  /** Of one try, in milliseconds: 30000. */
  timeoutMs?: number;
  /** Another `fetch` than the platform's. */
  fetch?: typeof globalThis.fetch;
}

/** How one call is made. */
export interface CallOptions {
  /** Ends the call, and its retries. */
  signal?: AbortSignal;
  /** The name of the request: the same name does it once. One is made up when left out. */
  idempotencyKey?: string;
}

/** What a service refused, or that it did not answer (`code` is then `unreachable`). */
export declare class FeilunError extends Error {
  /** Stable, for programs: `too_many_inputs`. */
  readonly code: string;
  /** HTTP's; 0 where no answer came. */
  readonly status: number;
  readonly remedy: string | null;
  readonly fields: FieldProblem[];
  readonly retryAfterSeconds: number | null;
  readonly requestId: string | null;
}
