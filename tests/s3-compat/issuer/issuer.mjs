// An issuer of OpenID Connect on loopback: `node issuer.mjs PORT`. It gives pods tokens for the audience "weir".
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const installed = path.join(process.env.WEIR_NODE_MODULES, 'oidc-provider/lib/index.js');
const { default: Provider } = await import(pathToFileURL(installed));

const port = Number(process.argv[2]);
const client = (id) => ({
  client_id: id,
  client_secret: `the-secret-of-${id}`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client('pod-7'), client('pod-8')],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:weir',
      getResourceServerInfo: () => ({
        scope: '',
        audience: 'weir',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.listen(port, '127.0.0.1', () => console.log('ready'));
