// A primary that uses the library, and then processes of its cluster and a child, which use it, too.
const { fork } = require('node:child_process')
const cluster = require('node:cluster')
const { once } = require('node:events')
const { Client, ExecutionNotFound } = require('libworkflows')

const NOBODY = '0191d5c0-0000-7000-8000-000000000000'

async function use() {
  const client = new Client()
  try {
    return await client.get(NOBODY)
  } catch (error) {
    return error instanceof ExecutionNotFound ? 'works' : String(error)
  } finally {
    await client.close()
  }
}

async function lead() {
  const told = [await use()]
  const others = [cluster.fork(), cluster.fork(), fork(__filename, ['child'])]
  told.push(...(await Promise.all(others.map(async (each) => (await once(each, 'message'))[0]))))
  told.push(await use())
  console.log(told.join(' '))
}

async function follow() {
  process.send(await use(), () => process.disconnect())
}

if (cluster.isPrimary && process.argv[2] !== 'child') lead()
else follow()
