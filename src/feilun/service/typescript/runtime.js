const AGAIN = new Set([429, 502, 503, 504]);
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5000;
const LONGEST_RETRY_AFTER_SECONDS = 60;

/** What a service refused, with its own code, message and remedy; see the type. */
export class FeilunError extends Error {
  constructor(code, message, told = {}) {
    super(message, told.cause === undefined ? undefined : { cause: told.cause });
    this.name = "FeilunError";
    this.code = code;
    this.status = told.status ?? 0;
    this.remedy = told.remedy ?? null;
    this.fields = told.fields ?? [];
    this.retryAfterSeconds = told.retryAfterSeconds ?? null;
    this.requestId = told.requestId ?? null;
  }
}

async function errorOf(answer) {
  let told = {};
  try {
    told = (await answer.json()).error ?? {};
  } catch {
    // A proxy's answer, or another program's: the status is all there is.
  }
  return new FeilunError(
    told.code ?? `status_${answer.status}`,
    told.message ?? `The service answered ${answer.status}.`,
    {
      status: answer.status,
      remedy: told.remedy,
      fields: told.fields,
      retryAfterSeconds: retryAfter(answer),
      requestId: answer.headers.get("x-request-id"),
    },
  );
}

function retryAfter(answer) {
  const given = (answer.headers.get("retry-after") ?? "").trim();
  return /^\d{1,9}$/.test(given) ? Number(given) : null;
}

function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A signal that ends when one of two does; `AbortSignal.any` is not everywhere yet. */
function eitherOf(signal, limit) {
  if (signal === undefined) return limit;
  const either = new AbortController();
  for (const one of [signal, limit]) {
    if (one.aborted) either.abort(one.reason);
    else one.addEventListener("abort", () => either.abort(one.reason), { once: true });
  }
  return either.signal;
}

class Service {
  #url;
  #headers;
  #retries;
  #timeoutMs;
  #fetch;

  constructor(options = {}) {
    this.#url = (options.url ?? "http://127.0.0.1:8000").replace(/\/+$/, "");
    this.#headers = options.key ? { authorization: `Bearer ${options.key}` } : {};
    this.#retries = options.retries ?? 5;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#fetch = options.fetch ?? ((...given) => globalThis.fetch(...given));
  }

  async _call(method, path, { body, media, query, answer: wanted }, options = {}) {
    const headers = { ...this.#headers };
    if (media !== undefined) headers["content-type"] = media;
    // One name for all tries: what was done although its answer was lost is not done twice.
    if (method === "POST") {
      headers["idempotency-key"] = options.idempotencyKey ?? globalThis.crypto.randomUUID();
    }
    const parameters = query === undefined ? "" : `?${new URLSearchParams(query)}`;
    const content = media === "application/json" ? JSON.stringify(body) : body;
    const url = this.#url + path + parameters;
    for (let tries = 1; ; tries += 1) {
      let least = 0;
      try {
        const answer = await this.#tried(url, { method, headers, body: content }, options.signal);
        if (answer.ok) return await (wanted === "json" ? answer.json() : answer.text());
        const error = await errorOf(answer);
        least = error.retryAfterSeconds ?? 0;
        const again = AGAIN.has(answer.status) && least <= LONGEST_RETRY_AFTER_SECONDS;
        if (!again || tries > this.#retries) throw error;
      } catch (error) {
        if (error instanceof FeilunError || options.signal?.aborted) throw error;
        if (tries > this.#retries) {
          throw new FeilunError(
            "unreachable",
            `${this.#url} did not answer; tried ${tries} time(s).`,
            { cause: error },
          );
        }
      }
      const longest = Math.min(FIRST_WAIT_MS * 2 ** (tries - 1), LONGEST_WAIT_MS);
      await wait(Math.max(longest * (0.5 + Math.random() / 2), least * 1000), options.signal);
    }
  }

  #tried(url, request, signal) {
    const either = eitherOf(signal, AbortSignal.timeout(this.#timeoutMs));
    return this.#fetch(url, { ...request, signal: either, redirect: "error" });
  }
}
