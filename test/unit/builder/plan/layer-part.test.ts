import { describe, expect, it } from 'vitest';
import { layerPart } from '../../../../builder/plan/layer-part.ts';

describe('layerPart', () => {
  it.each([
    'node_modules/express/index.js',
    'node_modules/.bin/vite',
    'node_modules/.pnpm/a@1/node_modules/a/.npmignore',
    'packages/web/node_modules/a/logo.png',
    'node_modules/empty/',
    'vendor/bundle/ruby/3.1.0/gems/rack/lib/rack.rb',
    'vendor/github.com/pkg/errors/errors.go',
    'public/bower_components/jquery/jquery.js',
    'site-packages/flask/app.py',
    'venv/bin/activate',
    '.venv/lib/python3.11/site-packages/six.py',
    'lib/spring-core-6.1.jar',
    'lib/ext/mysql.jar',
    'libs/native/libfoo.so.1.2',
    'webapps/ROOT/WEB-INF/lib/servlet.jar',
    'BOOT-INF/lib/shopping.jar',
    'target/dependency/guava.jar',
    'dependencies/tool.whl',
  ])('counts %s to the dependencies', (path) => {
    expect(layerPart(path, 'shop')).toBe('dependencies');
  });

  it.each([
    'src/node_modules.js',
    'node_modules',
    'node_modules/.package-lock.json',
    'node_modules/.modules.yaml',
    'node_modules/.cache/babel/x.json',
    'site-packages/flask/__pycache__/app.cpython-311.pyc',
    'vendor',
    'lib/server.js',
    'lib/tasks/import.rb',
    'shop.jar',
    'app.jar',
    'lib/shop.jar',
    'lib/shop-1.2.jar',
    'lib/shop_common.jar',
    'lib/common-1.2-SNAPSHOT.jar',
    'lib/common-1.2-SNAPSHOT-sources.jar',
    'webapps/ROOT.war',
    'WEB-INF/classes/com/example/Shop.class',
    'static/site.css',
    'logo.svg',
    'png',
    '',
    'empty/',
  ])('counts %s to the app, which changes most', (path) => {
    expect(layerPart(path, 'shop')).toBe('app');
  });

  it.each([
    'public/logo.PNG',
    'fonts/a.woff2',
    'static/video/intro.mp4',
    'assets/deep/er/x.jpeg',
    'data.zip',
  ])('counts %s to the resources', (path) => {
    expect(layerPart(path, 'shop')).toBe('resources');
  });

  it('reads names of bytes, and long ones in time', () => {
    expect(layerPart('raw\xff/lib/\xfe.jar', 'shop')).toBe('dependencies');
    expect(layerPart(`${'a/'.repeat(2000)}lib/x.so${'.1'.repeat(100)}`, 'shop')).toBe('dependencies');
    expect(layerPart(`${'lib/'.repeat(1000)}${'.so'.repeat(80)}x`, 'shop')).toBe('app');
  });
});
