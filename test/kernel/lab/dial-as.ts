// A connection from inside a pod under somebody else's address, as the proxy makes it: by a reactor.

import { parseAddress } from "../../../src/mesh/address.ts";
import { socketWordsOf } from "../../../src/proxy/address-text.ts";
import { sourceMark, statCount } from "../../../src/runtime/layout.ts";
import type { Fd } from "../../../src/runtime/native.ts";
import { Reactor } from "../../../src/runtime/reactor.ts";
import type { Greeting } from "./greeting.ts";

export interface DialAs {
  source: string;
  sourcePort: number;
  destination: string;
  port: number;
  timeoutMs: number;
}

/** Answers what the application says it sees, or the errno. */
export async function dialAs(netns: Fd, way: DialAs): Promise<{ greeting?: Greeting; errno?: number }> {
  const stats = new Float64Array(new SharedArrayBuffer(statCount * 8));
  const reactor = new Reactor({ blocks: 8, worker: 0, poison: true, stats });
  const { promise, resolve } = Promise.withResolvers<{ greeting?: Greeting; errno?: number }>();
  const source = socketWordsOf(parseAddress(way.source)!, way.sourcePort);
  const destination = socketWordsOf(parseAddress(way.destination)!, way.port);
  reactor.connect(
    { netns, source, isTransparent: true, mark: sourceMark, destination, timeoutMs: way.timeoutMs },
    {
      // The first FIN is ours, and so is the TIME_WAIT.
      onConnected: (connection) => connection.shutdown(),
      onData(connection, block, generation, offset, length) {
        const text = Buffer.from(reactor.slab.subarray(offset, offset + length)).toString();
        reactor.release(block, generation);
        connection.close(0);
        resolve({ greeting: JSON.parse(text) as Greeting });
      },
      onEnd() {},
      onBlocked() {},
      onDrained() {},
      onClosed: (_connection, errno) => resolve({ errno }),
    },
  );
  const answer = await promise;
  reactor.close();
  return answer;
}
