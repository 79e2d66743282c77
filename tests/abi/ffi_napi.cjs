// A job from start to end through ffi-napi, one C function per operation and no adapter:
//
//     node ffi_napi.cjs LIBRARY CONFIG
//
// prints the finished execution. The package is the maintained fork of ffi-napi.
const ffi = require('@2060.io/ffi-napi')
const ref = require('@2060.io/ref-napi')

const [library, config] = process.argv.slice(2)
const outText = ref.refType('pointer')
const operation = ['int', ['uint64', 'string', 'size_t', outText, 'size_t*']]
const wf = ffi.Library(library, {
  wf_open: ['int', ['string', 'size_t', 'uint64*', outText]],
  wf_close: ['int', ['uint64', 'int']],
  wf_free: ['void', ['pointer']],
  wf_create_execution: operation,
  wf_start_worker: operation,
  wf_claim: operation,
  wf_complete_execution: operation,
  wf_get_execution: operation,
  wf_stop_worker: operation,
})

/** Reads what the library allocated, and gives it back. */
function taken(out, length) {
  const pointer = out.deref()
  const text = ref.reinterpret(pointer, length, 0).toString('utf8')
  wf.wf_free(pointer)
  return JSON.parse(text)
}

function open() {
  const engine = ref.alloc('uint64')
  const error = ref.alloc('pointer')
  if (wf.wf_open(config, Buffer.byteLength(config), engine, error) !== 0) {
    throw new Error(ref.readCString(error.deref(), 0))
  }
  return engine.deref()
}

function answer(out, n) {
  const reply = taken(out, Number(n.deref()))
  if (reply.error) throw new Error(`${reply.error.code}: ${reply.error.message}`)
  return reply.ok
}

/** Blocks, as a simple caller may. */
function call(engine, name, request) {
  const text = JSON.stringify(request)
  const [out, n] = [ref.alloc('pointer'), ref.alloc('size_t')]
  wf[`wf_${name}`](engine, text, Buffer.byteLength(text), out, n)
  return answer(out, n)
}

/** Does not block: ffi-napi calls it in a thread. */
function callAsync(engine, name, request) {
  const text = JSON.stringify(request)
  const [out, n] = [ref.alloc('pointer'), ref.alloc('size_t')]
  return new Promise((resolve, reject) => {
    wf[`wf_${name}`].async(engine, text, Buffer.byteLength(text), out, n, (error) => {
      try {
        if (error) throw error
        resolve(answer(out, n))
      } catch (failure) {
        reject(failure)
      }
    })
  })
}

async function main() {
  const engine = open()
  const queue = `ffi-${process.pid}`
  const job = { kind: 'job', name: 'greet', queue, args: ['Ädä'] }
  const id = call(engine, 'create_execution', { items: [job] }).results[0].id
  const worker = call(engine, 'start_worker', { queues: [queue] }).worker_id
  const claim = { worker_id: worker, n: 1, wait_ms: 5000 }
  const [claimed] = (await callAsync(engine, 'claim', claim)).executions
  const done = { id, lease: claimed.lease, result: `Hello, ${claimed.args[0]}!` }
  await callAsync(engine, 'complete_execution', { items: [done] })
  call(engine, 'stop_worker', { worker_id: worker })
  let refused = ''
  try {
    call(engine, 'get_execution', { id: '00000000-0000-7000-8000-000000000000' })
  } catch (error) {
    refused = error.message
  }
  console.log(JSON.stringify({ found: call(engine, 'get_execution', { id }), refused }))
  wf.wf_close(engine, 1000)
}

main()
